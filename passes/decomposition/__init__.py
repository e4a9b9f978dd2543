"""Weight forms: how the weights of a convolution are held, and what a compression scheme is told and answers."""

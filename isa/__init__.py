"""What compiler and machine must agree on: instructions, data formats, machine description, binary container."""

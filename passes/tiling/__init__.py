"""From level `esc` to level `bfs` and on to instructions: what every layer kind builds on."""

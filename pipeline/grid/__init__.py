"""The grid on the command line: whom to ask about a zone, what they said, what they expect, and how it looks."""

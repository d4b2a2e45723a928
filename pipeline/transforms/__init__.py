"""Tables in, tables out: no I/O, no clock, no configuration."""

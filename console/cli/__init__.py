"""The command `rampa`. Modules here import what they need inside functions, so that help is quick."""

"""`rampa demo`: real broker, real sockets, real mail; only the clock runs faster."""

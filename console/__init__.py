"""How people use rampa: the command line. The only package that imports everything."""

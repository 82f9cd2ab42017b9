"""Rights, sudden deaths, lasting writes, bad input, and what a wheel holds."""

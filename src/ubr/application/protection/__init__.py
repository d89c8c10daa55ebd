"""Rate limits, and the throttle for password checks."""

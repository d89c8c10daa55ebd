"""Rate limits, and the throttle before every password."""

"""RateLimiter, and the guard before every password."""

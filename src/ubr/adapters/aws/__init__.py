"""AWS by its signed requests: passwords from IAM, and objects in S3. Other adapters use it; it knows none of them."""

"""What the chat's templates use."""

"""Events for terminal makers: sent to their endpoints, listed for their terminals."""

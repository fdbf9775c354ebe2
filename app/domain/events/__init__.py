"""News for terminal makers: what they are told, and when it is sent again."""

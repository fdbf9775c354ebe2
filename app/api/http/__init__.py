"""What endpoints share: authentication, problems, request bodies, card data, long polls, cursors."""

"""How the console speaks HTTP: pages, forms, sign-in, assets."""

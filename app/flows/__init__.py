"""What happens, one file a journey; every transaction begins and ends here."""

"""This folder's tests share one database, emptied before each."""

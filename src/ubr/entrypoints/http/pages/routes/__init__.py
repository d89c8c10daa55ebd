"""The controllers of the pages, by theme."""

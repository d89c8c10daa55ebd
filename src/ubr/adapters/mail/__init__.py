"""Mails: their words out of templates, and their ways out. Each module is loaded where it is used."""

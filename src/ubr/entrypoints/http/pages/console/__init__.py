"""The console: pages for those who manage users, roles, machines, the log and the service.

- `desk.py` is what each controller uses: who works at it, what they may do, and how a page is shown.
- `acts.py` has what an act says before it is done: a page with its consequences, and the form that does it.
- The other modules have the controllers, by theme, and `controllers.py` lists them.

Its words are English, as those of the log and of the command line are. No page decides about a permission: it leaves
out what its reader may not do, and the use cases decide.
"""

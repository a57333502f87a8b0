"""The report: what a command found out about a design, in a folder, as one page and as JSON.

`facts` says what there is to know, `gather` takes it from designs, simulations and builds, `folder`
keeps it as ``report.json``, and `page` makes ``report.html`` of that. The page needs the extra
``report``; all else does not.
"""

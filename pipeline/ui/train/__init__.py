"""The Train tab.

tab       set up, start, stop and resume runs; refresh what is shown
evaluation_card  evaluations of the shown run, the job that makes them, and its buttons
run_page  values for the templates of the shown run and of the tables of runs and pushes; the columns of the tables are in
          assets/templates/{strip,runs,pushes}.html.j2, their headings in assets/texts.json
"""

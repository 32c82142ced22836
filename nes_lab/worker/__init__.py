"""Processes that keep torch loaded and answer the app's questions, so that a page gets its answer at once.

The app itself never imports torch. It starts two such workers, which live as long as its server: one makes plans, the other does
slower jobs, so that a plan never waits for them.

``client``: start a worker, ask it, cancel a question, and start it again if it dies or hangs. Imports no torch.
``messages``: send and read one message: a line of JSON on a socket.
``serve``: the worker's side: accept questions, answer them one after another, and stop work that nobody waits for.
``questions``: what a worker can be asked, by name.
``plans``: answer the question for a compression plan, and keep networks, surveys and ladders.
``times``: measure the time of a planned network beside the dense one.
``training_cost``: estimate the time and the memory of a training from a few of its steps.
``exports``: write the network of a run into a file, compare its forms, and predict its validation data.
``explanations``: say on which images two networks disagree, and which parts they look at.
``importances``: ask which settings of a sweep mattered most.
``launches``: create a run that starts from a saved network or a run.
``data``: answer the questions for a check of a data set, and for a few of its images.
"""

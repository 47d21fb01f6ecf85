"""Helper package of the book *Recurrent Neural Networks, Measured*.

Read the modules in this order; each imports only from those before it::

    repro → files → datasets → tasks → text → batches → cells → encoders → models → train → evaluate → results → check → plot → draw

Import a name from the module where it lives: ``from rnnbook.cells import LSTMCell``.
"""

__version__ = "0.1.0"

"""Helper package of the book *Recurrent Neural Networks, Measured*.

Read the modules in this order; each imports only from those before it::

    repro → files → text → corpus → origins → datasets → tasks → batches → cells → kernels → recurrence → layers → encoders → models → classifier → checkpoint → train → evaluate → explain → challenge → article → results → check → check_layers → check_practice → check_application → plot → charts → charts_text → draw

Import a name from the module where it lives: ``from rnnbook.cells import LSTMCell``.
"""

__version__ = "0.1.0"

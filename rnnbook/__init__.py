"""Helper package of the book *Recurrent Neural Networks, Measured*.

Read the modules in this order; each imports only from those before it::

    repro → files → text → segment → corpus → origins → datasets → tasks → batches → cells → kernels → recurrence → layers → scan → encoders → models → classifier → export → losses → checkpoint → parallel → train → evaluate → explain → attack → attack_text → challenge → article → results → check → check_layers → check_practice → check_application → check_optimization → plot → charts → charts_text → charts_optimization → draw

Import a name from the module where it lives: ``from rnnbook.cells import LSTMCell``.
"""

__version__ = "0.1.0"

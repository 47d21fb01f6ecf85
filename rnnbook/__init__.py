"""Helper package of the book *Recurrent Neural Networks, Measured*.

Read the modules in this order; each imports only from those before it::

    repro → files → text → segment → corpus → origins → datasets → tasks → dates → batches → cells → kernels → recurrence → layers → scan → encoders → models → seq2seq → generate → classifier → export → losses → checkpoint → parallel → train → evaluate → gradients → explain → attack → attack_text → challenge → article → results → check → check_introduction → check_layers → check_practice → check_application → check_optimization → check_outlook → plot → charts → charts_introduction → charts_text → charts_translation → charts_optimization → charts_outlook → draw

Import a name from the module where it lives: ``from rnnbook.cells import LSTMCell``.
"""

__version__ = "0.1.0"

"""From a weights file to a network that runs anywhere: the only room that knows TensorFlow.

`card` says which network it is, `weights` finds its weights, `keras_network` builds it and `export` makes it
portable (both import TensorFlow inside their functions), `onnx_graph` divides what comes out, `runtime` runs it in the
workers.
"""

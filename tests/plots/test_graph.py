"""A network's graph as a figure: what is drawn is what is in the graph."""

from matplotlib import pyplot as plt

from metseg.models import build_model
from metseg.models.inspect import graph_of
from metseg.plots.graph import plot_graph


def test_every_node_gate_and_head_is_drawn():
    graph = graph_of(build_model("attention_unet", filters=(4, 8, 16, 32)))
    ax = plot_graph(graph, model="attention_unet", ax=plt.subplots()[1])
    texts = [text.get_text() for text in ax.texts]
    assert sum(text.startswith("X") for text in texts) == len(graph.nodes) == 7
    assert texts.count("α") == 2 and texts.count("σ") == 1

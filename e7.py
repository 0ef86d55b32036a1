from e6 import *
import h
# ours with no prompt influence, several forms
cfg=[(dict(prompt=" "),dict(theta=1.,k=4)),(dict(prompt=" ",training=dict(text_rank=16)),dict(theta=1.,k=4,lr=2.5e-3,only="text_adapter")),(dict(training=dict(text_rank=16)),dict(theta=1.,k=4,lr=5e-3,only="text_adapter"))]
for kw,c_ in cfg:
    c=Cell("trec6",8,2,**kw); print(kw,c_,*run(c,**c_),flush=True)

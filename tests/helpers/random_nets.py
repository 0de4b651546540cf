"""Random tiny networks of every kind of layer that bounds are known for."""

import torch
from torch import nn
from torch.nn import functional as F

SIDE, CLASSES = 4, 3


class RandomNet(nn.Module):
    """Layers, joins and pools in an order drawn from a seed; float64, in eval mode."""

    def __init__(self, seed, depth):
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        self.plan = torch.randint(0, 12, (depth,), generator=draws).tolist()
        width, self.layers = 1, nn.ModuleList()
        for kind in self.plan:
            conv = nn.Conv2d(width, 3, 3, padding=2, dilation=2) if kind == 1 else None
            conv = conv or nn.Conv2d(width, 3, 3, padding=1)
            norm = nn.BatchNorm2d(3)
            self.layers.append(nn.Sequential(conv, norm))
            width = 6 if kind == 2 else 3
        self.classifier = nn.Linear(width, CLASSES)
        self.double().eval()
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(torch.randn(tensor.shape, generator=draws, dtype=tensor.dtype))
            for norm in (layer[1] for layer in self.layers):
                norm.running_var.abs_().add_(0.1)

    def forward(self, x):
        for kind, layer in zip(self.plan, self.layers, strict=True):
            y = layer(x)
            if kind == 2:
                y = torch.cat([F.relu(y), 0.5 * y[:, :, :]], dim=1)
            elif kind == 3:
                y = F.max_pool2d(y, 3, 1, 1)
            elif kind == 4:
                y = F.relu(y) + F.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
            elif kind == 5:
                y = F.relu(y) - y.transpose(2, 3) * -0.3
            elif kind == 6 and y.shape[2] == SIDE:
                y = F.max_pool2d(y, 2)
            elif kind == 8:
                y = torch.add(0.5 - F.relu(y) / 3, y.mean((2, 3), keepdim=True), alpha=-2)
            elif kind == 9:
                first, *others = F.pad(F.relu(y), (0, 1), value=0.2)[:, :, :, 1:].chunk(3, 1)
                y = torch.cat([*others, first.reshape(len(y), -1).view(first.shape)], 1)
            elif kind == 10:
                y = F.conv2d(F.relu(y), layer[0].weight[:, :1], None, 1, "same", 1, 3).relu_()
            elif kind == 11:
                y = F.relu(y + y.transpose(2, 3)) - F.relu(y - y.transpose(2, 3))
            else:
                y = F.relu(y)
            x = y
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def random_batch(seed, count=4):
    """Return images (count, 1, 4, 4), a third of their pixels black, and labels."""
    draws = torch.Generator().manual_seed(seed)
    shape = (count, 1, SIDE, SIDE)
    images = torch.rand(shape, generator=draws, dtype=torch.float64)
    images[torch.rand(shape, generator=draws) < 1 / 3] = 0
    return images, torch.randint(0, CLASSES, (count,), generator=draws)

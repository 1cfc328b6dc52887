#!/usr/bin/python3
"""A symmetric residual network in PyTorch: 20 blocks u - tau K^T flux(K u), 16 filters 5x5.

Weights: K [20, 16, 1, 5, 5], lambda [20]. The boundary reflects (the ghost beside cell 0 is cell 0), and K^T is the exact
transpose with it: pad P, convolve C: K = C P, K^T = P^T C^T. flux(s) = s / (1 + s^2 / lambda^2), tau = 2 / L = 2.
After a step K is divided by its Fourier bound max over frequencies of sqrt(sum of |K_c|^2) where that exceeds 1,
and lambda put into [0.001, 10]. Batch: 16 of 64x64.

The gradient is written out: PyTorch's own of the plain program, which --check compares with, takes more passes and
memory. The two transposes are the gradient of a convolution through im2col, which is twice as fast as
conv_transpose2d; TorchScript spares Python's time for some 60 operations a block.
"""
import sys

from _rival import he, main, torch

DEPTH, CHANNELS, SIZE = 20, 16, 5
REACH = SIZE // 2


@torch.jit.script
def pad(u):
    """P u: two ghosts at every side."""
    n = u.size(2)
    p = torch.empty(u.size(0), 1, n + 4, n + 4)
    p[:, :, 2:-2, 2:-2] = u
    p[:, :, 2:-2, 1] = u[:, :, :, 0]
    p[:, :, 2:-2, 0] = u[:, :, :, 1]
    p[:, :, 2:-2, n + 2] = u[:, :, :, n - 1]
    p[:, :, 2:-2, n + 3] = u[:, :, :, n - 2]
    p[:, :, 1] = p[:, :, 2]
    p[:, :, 0] = p[:, :, 3]
    p[:, :, n + 2] = p[:, :, n + 1]
    p[:, :, n + 3] = p[:, :, n]
    return p


@torch.jit.script
def fold(w):
    """P^T w, in place: what ghosts hold goes to their cells."""
    n = w.size(2) - 4
    w[:, :, 2] += w[:, :, 1]
    w[:, :, 3] += w[:, :, 0]
    w[:, :, n + 1] += w[:, :, n + 2]
    w[:, :, n] += w[:, :, n + 3]
    w[:, :, 2:-2, 2] += w[:, :, 2:-2, 1]
    w[:, :, 2:-2, 3] += w[:, :, 2:-2, 0]
    w[:, :, 2:-2, n + 1] += w[:, :, 2:-2, n + 2]
    w[:, :, 2:-2, n] += w[:, :, 2:-2, n + 3]
    return w[:, :, 2:-2, 2:-2]


@torch.jit.script
def conv(p, K):
    return torch.conv2d(p, K)


@torch.jit.script
def transposed(v, K, p):
    """C^T v; p has the shape of the result."""
    return torch.ops.aten._slow_conv2d_backward(v, p, K, [5, 5], [1, 1], [0, 0], [True, False, False])[0]


@torch.jit.script
def weights_of(v, p, K):
    """The gradient of sum(v * conv(p, K)) in K."""
    return torch.ops.aten.convolution_backward(v, p, K, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
                                               [False, True, False])[1]


# With s = C P u / lambda a block is u - 2 P^T (lambda C)^T (s / (1 + s^2)): lambda stands in the filters alone.
@torch.jit.script
def forward(u, K, L, keep: bool):
    """K: filters / lambda; L: filters * -2 lambda. The result, and of every block P u, s r, r = 1 / (1 + s^2)."""
    ps, ys, rs = [u], [u], [u]
    ps.clear(), ys.clear(), rs.clear()
    for k in range(K.size(0)):
        p = pad(u)
        s = conv(p, K[k])
        r = torch.mul(s, s).add_(1).reciprocal_()
        y = s.mul_(r)
        if keep:
            ps.append(p), ys.append(y), rs.append(r)
        u = fold(transposed(y, L[k], p)).add_(u)
    return u, ps, ys, rs


@torch.jit.script
def backward(g, K, L, ps: list[torch.Tensor], ys: list[torch.Tensor], rs: list[torch.Tensor]):
    """The gradients in K and L."""
    gK, gL = torch.empty_like(K), torch.empty_like(L)
    for i in range(K.size(0)):
        k = K.size(0) - 1 - i
        q, r = pad(g), rs[k]
        gs = conv(q, L[k]).mul_(torch.addcmul(r, r, r, value=-2)) # (1 - s^2) / (1 + s^2)^2 = 2 r^2 - r
        gL[k] = weights_of(ys[k], q, L[k])
        gK[k] = weights_of(gs, ps[k], K[k])
        g = torch.sub(g, fold(transposed(gs, K[k], q)))
    return gK.neg_(), gL


class SymmetricResnet:
    __doc__ = __doc__
    variants, best = ["written out", "autograd"], "written out"
    rate, epsilon = 1e-3, 1e-3
    batch, cells = 16, 64

    def __init__(self, variant):
        self.variant = variant
        K = he(DEPTH, CHANNELS, 1, SIZE, SIZE)
        K -= K.mean((3, 4), keepdim=True) # else 20 blocks leave nothing of a picture, nor of gradients
        self.weights = {"K": K, "lambda": torch.full((DEPTH,), 0.1)}
        self.project(self.weights)
        K *= 0.5 # far inside the constraint: in the steps that are compared, no other bound of the norm acts either
        self.target = smooth(torch.rand(self.batch, 1, self.cells, self.cells))
        self.x = self.target + 25 / 255 * torch.randn(self.batch, 1, self.cells, self.cells)

    @staticmethod
    def project(weights):
        K, lam = weights["K"], weights["lambda"]
        symbol = torch.fft.rfft2(K, s=(32, 32))
        bound = symbol.abs().square_().sum((1, 2)).amax((1, 2)).sqrt_()
        K.div_(bound.clamp_(min=1).view(-1, 1, 1, 1, 1))
        lam.clamp_(0.001, 10)

    @staticmethod
    def plain(x, weights, kinks=None):
        """As one would write it down. It has no kinks."""
        u = x
        n = x.size(2)
        to = [1, 0, *range(n), n - 1, n - 2]
        for K, lam in zip(weights["K"], weights["lambda"]):
            s = torch.conv2d(u[:, :, to][:, :, :, to], K)
            w = torch.conv_transpose2d(s / (1 + s * s / (lam * lam)), K)
            rows = torch.zeros_like(w[:, :, 2:-2]).index_add(2, torch.tensor(to), w)
            u = u - 2 * torch.zeros_like(u).index_add(3, torch.tensor(to), rows)
        return u

    def gradients(self, x, target):
        K, lam = self.weights["K"], self.weights["lambda"]
        if self.variant == "autograd":
            loss = ((self.plain(x, self.weights) - target) ** 2).mean()
            return loss.detach(), dict(zip(self.weights, torch.autograd.grad(loss, (K, lam))))
        with torch.no_grad():
            self.prepare()
            u, ps, ys, rs = forward(x, self.K, self.L, True)
            u.sub_(target)
            loss = u.square().mean()
            gK, gL = backward(u.mul_(2 / u.numel()), self.K, self.L, ps, ys, rs)
            column = lam.view(-1, 1, 1, 1, 1)
            slopes = ((gL * -2 - gK / column.square()) * K).sum((1, 2, 3, 4))
            return loss, {"K": gK / column - 2 * column * gL, "lambda": slopes}

    def prepare(self):
        column = self.weights["lambda"].view(-1, 1, 1, 1, 1)
        self.K, self.L = self.weights["K"] / column, self.weights["K"] * column * -2

    def infer(self, x):
        self.prepare() # of the weights as they are: a few small operations
        return forward(x, self.K, self.L, False)[0]


def smooth(u):
    """Something like a picture: noise, averaged."""
    for _ in range(3):
        u = torch.nn.functional.avg_pool2d(u, 5, 1, 2, count_include_pad=False)
    low, high = u.amin((1, 2, 3), keepdim=True), u.amax((1, 2, 3), keepdim=True)
    return (u - low) / (high - low)


if __name__ == "__main__":
    sys.exit(main(SymmetricResnet))

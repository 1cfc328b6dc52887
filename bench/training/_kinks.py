"""Which way a relu or a maximum went, where rounding decides.

A derivative jumps where the argument of a relu is 0, and where the two greatest values under a maximum are equal. Of the
millions of arguments in a network a few lie so near to such a kink that their rounding in f32 decides on which side: each
result is the derivative of one side (or, where f32 has a tie, half of both), and none is more right. So the truth in f64
is what the derivatives are with the choices of whoever computed them, and these follow from that gradient, as the other
choice adds a known vector to it.
"""
import numpy as np
from _rival import torch

LEAST = 2.0 ** -23 # what is not looked for: distances and effects that rounding alone has
MARGIN = 2


class Seen:
    """Stands for relu and max_pool of a plain program, keeps what they are given."""

    def __init__(self):
        self.calls = []

    def relu(self, z):
        self.calls.append(z[..., None].detach())
        return torch.relu(z)

    def max_pool(self, u, size):
        self.calls.append(windows(u, size).detach())
        return torch.max_pool2d(u, size)


class Chosen:
    """Stands for relu and max_pool, too, and goes the other way at `turned`: {(number of the call, number of the value in
    its result): 1 for the other way, 1/2 for both by half, as pdn does with what is equal}."""

    def __init__(self, turned):
        self.turned, self.calls, self.results = turned, [], []

    def shares(self, like):
        """Of the other way, in the call that is next."""
        shares = torch.zeros_like(like)
        for (call, index), share in self.turned.items():
            if call == len(self.calls):
                shares.view(-1)[index] = share
        return shares

    def keep(self, cells, result):
        self.calls.append(cells)
        self.results.append(result)
        return result

    def relu(self, z):
        on = (z.detach() > 0).to(z)
        return self.keep(z[..., None], z * (on - self.shares(on) * (2 * on - 1)))

    def max_pool(self, u, size):
        cells = windows(u, size)
        two = cells.gather(-1, cells.detach().topk(2).indices)
        share = self.shares(two.detach()[..., 0].contiguous())
        return self.keep(cells, two[..., 0] * (1 - share) + two[..., 1] * share)


def windows(u, size):
    """u [batch, channels, rows, columns] to [batch, channels, rows / size, columns / size, size²]."""
    return u.unfold(2, size, size).unfold(3, size, size).flatten(4)


# Of what a call is given, [..., 1] for a relu and [..., size²] for a maximum: how far each is from its kink (and whether
# there is one: exact zeros, as relu leaves, have derivative 0 on all sides), and on which side it is.


def gap(cells):
    if cells.shape[-1] == 1:
        return cells[..., 0].abs(), cells[..., 0] != 0
    two = cells.topk(2).values
    return two[..., 0] - two[..., 1], two[..., 0] > 0


def side(cells):
    return cells[..., 0] > 0 if cells.shape[-1] == 1 else cells.argmax(-1)


class Truth:
    """Loss and gradients of rival.plain in f64 at `weights` (dictionary of arrays), with the choices of f64. `near`: the
    kinks at which rounding decides, those no farther than MARGIN times as PyTorch in f32 is from f64 somewhere in the same
    layer; `theirs`: at which of these PyTorch goes the other way."""

    def __init__(self, rival, weights):
        self.rival = rival
        self.weights = {name: torch.as_tensor(np.array(value)).double().requires_grad_(True)
                        for name, value in weights.items()}
        self.x, self.target = rival.x.double(), rival.target.double()
        self.loss, self.gradients, self.slopes, self.calls = self.compute({})
        seen = Seen()
        with torch.no_grad():
            rival.plain(rival.x, {name: value.float() for name, value in self.weights.items()}, seen)
        self.near, self.theirs = [], {}
        for call, (rounded, exact) in enumerate(zip(seen.calls, self.calls)):
            far, is_kink = gap(exact)
            reach = (rounded - exact).abs().max() * min(2, exact.shape[-1]) # a difference has the errors of two
            near = ((far <= MARGIN * reach) & is_kink).flatten()
            other = (side(rounded) != side(exact)).flatten()
            self.near += [(call, int(index)) for index in torch.nonzero(near)]
            self.theirs.update(((call, int(index)), 1.0) for index in torch.nonzero(near & other))

    def compute(self, turned):
        """Loss, gradients in the weights, and in the results of kinks; what these were given."""
        kinks = Chosen(turned)
        loss = ((self.rival.plain(self.x, self.weights, kinks) - self.target) ** 2).mean()
        found = torch.autograd.grad(loss, [*self.weights.values(), *kinks.results])
        gradients = dict(zip(self.weights, (gradient.numpy() for gradient in found)))
        return float(loss.detach()), gradients, found[len(gradients):], [cells.detach() for cells in kinks.calls]

    def where(self, kink):
        """In words; calls are numbered as the plain program makes them, from 0."""
        call, index = kink
        cells = self.calls[call]
        picture, channel, *cell = np.unravel_index(index, cells.shape[:-1])
        what = "relu" if cells.shape[-1] == 1 else "maximum"
        return (f"call {call}, {what} of {'x'.join(map(str, cells.shape[1:-1]))}: picture {picture}, channel {channel}, cell "
                f"({', '.join(map(str, cell))}), {float(gap(cells)[0].flatten()[index]):.1e} from its kink in f64")

    def turn(self, turned):
        """Gradients with the choices `turned`, as in Chosen."""
        return self.compute(turned)[1] if turned else self.gradients

    def effects(self):
        """Of each kink of `near` with an effect above rounding: what the other choice there adds to the gradients
        (but for what it does together with others'), as one relative vector. An argument hangs on one picture of the batch."""
        of_picture, found = {}, {}
        for call, index in self.near:
            picture, index = divmod(index, self.slopes[call][0].numel())
            of_picture.setdefault(picture, []).append((call, index))
        for picture, near in of_picture.items():
            kinks = Chosen({})
            self.rival.plain(self.x[picture:picture + 1], self.weights, kinks)
            for call, index in near:
                cells = kinks.calls[call].flatten(0, -2)[index]
                if len(cells) == 1:
                    more = -cells[0] if cells[0] > 0 else cells[0]
                else:
                    first, second = cells.topk(2).indices
                    more = cells[second] - cells[first]
                more = more * self.slopes[call][picture].flatten()[index]
                parts = torch.autograd.grad(more, list(self.weights.values()), retain_graph=True, allow_unused=True)
                effect = self.relative({name: torch.zeros_like(value) if part is None else part
                                        for (name, value), part in zip(self.weights.items(), parts)})
                if np.linalg.norm(effect) > LEAST:
                    found[call, picture * self.slopes[call][0].numel() + index] = effect
        return found

    def relative(self, gradients):
        """One vector; each parameter's part relative to the norm of the true one."""
        return np.concatenate([np.asarray(gradients[name], np.float64).ravel() / max(np.linalg.norm(truth), 1e-300)
                               for name, truth in self.gradients.items()])

    def choices(self, gradients):
        """The kinks of `near` that went the other way in these gradients, as in Chosen: of all sets the one that explains
        them best, by least squares. What has no effect above rounding is left out."""
        away = self.relative(gradients) - self.relative(self.gradients)
        effects = self.effects() if np.linalg.norm(away) > LEAST else {}
        if not effects:
            return {}
        matrix = np.array(list(effects.values()))
        gram, right = matrix @ matrix.T, matrix @ away
        sizes = np.sqrt(np.diag(gram)) # unknowns of one size
        best = np.linalg.lstsq(gram / np.outer(sizes, sizes), right / sizes, rcond=1e-12)[0] / sizes
        shares = np.clip(np.round(2 * best) / 2, 0, 1)
        while True: # |away - matrix shares|² falls by so much where one of them is changed
            change = np.array([[0], [0.5], [1]]) - shares
            fall = change * 2 * (right - gram @ shares) - change ** 2 * np.diag(gram)
            to, index = np.unravel_index(np.argmax(fall), fall.shape)
            if fall[to, index] <= 1e-9 * (away @ away):
                break
            shares[index] = to / 2
        return {kink: share for kink, share in zip(effects, shares) if share}

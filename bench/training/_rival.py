"""What the rivals in PyTorch share: the environment in which PyTorch is fastest, measuring, files.

A rival is a class with
    weights    dict: name -> tensor, in f32; every tensor but the first axis of a stack as in PyTorch
    x, target  the batch that every step sees
    gradients(x, target) -> (loss, dict: name -> gradient), of mean((net(x) - target)^2)
    rate, epsilon  of Adam
    infer(x) -> net(x), without gradients
    project(weights)  puts these back into their constraints
    plain(x, weights, kinks=…) -> net(x), as one would write it down, in any precision; relu and max_pool are those of kinks
and is run by main(class).
"""
import argparse
import json
import os
import resource
import struct
import sys
import time

# Debian's OpenBLAS takes newer processors for a Prescott; PyTorch divides batches among threads by itself, so that a
# threaded BLAS is in its way; and glibc would give every large tensor back to the system and fetch it anew.
ENVIRONMENT = {
    "OPENBLAS_CORETYPE": "SKYLAKEX", "OPENBLAS_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx512",
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(64 << 20),
}


def has_avx512():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return "avx512f" in file.read()


def environment():
    """Starts this program anew with ENVIRONMENT, which is read before Python can set it."""
    if os.environ.get("PDN_RIVAL") == "1":
        return
    wanted = dict(ENVIRONMENT) if has_avx512() else {k: v for k, v in ENVIRONMENT.items()
                                                     if not k.startswith(("OPENBLAS_C", "ATEN"))}
    os.execve(sys.executable, [sys.executable, *sys.argv], {**wanted, **os.environ, "PDN_RIVAL": "1"})


environment()
import numpy as np # noqa: E402
try:
    import torch   # noqa: E402
except ImportError:
    print("PyTorch is not installed (./dev setup bench)")
    sys.exit(77)


# ---- safetensors: the length of a header in JSON (8 bytes), the header, the data


def write_safetensors(path, tensors):
    header, data, at = {}, [], 0
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor.detach().numpy(), dtype="<f4")
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        data.append(array.tobytes())
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def read_safetensors(path):
    with open(path, "rb") as file:
        text = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    return {name: torch.from_numpy(np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
                                   .copy()) for name, entry in text.items() if name != "__metadata__"}


# ---- rivals that are layers of PyTorch, with its own gradients


class Kinks:
    """What has kinks in a plain program: compare.py puts others in its place, which watch them."""
    relu = staticmethod(torch.relu_)
    max_pool = staticmethod(torch.max_pool2d)


class Layers:
    """A rival of `plain` alone. Variants: the layout of memory, and whether oneDNN or im2col with BLAS convolves;
    inference is traced, frozen and optimised (oneDNN then keeps weights in its own layout and fuses relu)."""
    variants = ["nchw", "nhwc", "nchw im2col", "nhwc im2col"]
    rate, epsilon = 1e-4, 1e-2

    def __init__(self, variant):
        self.layout = torch.channels_last if variant.startswith("nhwc") else torch.contiguous_format
        torch._C._set_mkldnn_enabled("im2col" not in variant)
        self.make()
        self.x = self.x.contiguous(memory_format=self.layout)
        self.target = self.target.contiguous(memory_format=self.layout)

    @staticmethod
    def project(weights):
        pass

    def gradients(self, x, target):
        loss = torch.nn.functional.mse_loss(self.plain(x, self.weights), target)
        return loss.detach(), dict(zip(self.weights, torch.autograd.grad(loss, list(self.weights.values()))))

    def prepare(self):
        class Module(torch.nn.Module):
            def __init__(module):
                super().__init__()
                for name, tensor in self.weights.items():
                    module.register_buffer(name.replace(".", "_"), tensor.detach().clone())

            def forward(module, x):
                return self.plain(x, {n: getattr(module, n.replace(".", "_")) for n in self.weights})

        traced = torch.jit.trace(Module().eval(), self.x)
        self.net = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        self.slow = milliseconds(lambda: self.net(self.x), 5, 3).min() > milliseconds(
            lambda: self.plain(self.x, self.weights), 5, 3).min()

    def infer(self, x):
        if not hasattr(self, "net"):
            return self.plain(x, self.weights)
        return self.plain(x, self.weights) if self.slow else self.net(x)


def he(*shape):
    """Normal, of variance 2 / inputs of one output."""
    return torch.randn(*shape) * (2 / float(np.prod(shape[-3:]))) ** 0.5


# ---- training


def adam(rival, rate, epsilon):
    for tensor in rival.weights.values():
        tensor.requires_grad_(True)
    return torch.optim.Adam(rival.weights.values(), lr=rate, eps=epsilon, foreach=True)


def step(rival, optimiser):
    """One training step: the loss before it."""
    loss, gradients = rival.gradients(rival.x, rival.target)
    for name, tensor in rival.weights.items():
        tensor.grad = gradients[name]
    optimiser.step()
    with torch.no_grad():
        rival.project(rival.weights)
    return loss


def milliseconds(function, least, warm):
    """Of each call after `warm` ones: at least `least` calls."""
    for _ in range(warm):
        function()
    times = []
    for _ in range(least):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return np.array(times)


def peak():
    """Greatest memory of this process so far, MB of 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def write_inputs(rival, folder):
    """The weights as they are, and the batch."""
    os.makedirs(folder, exist_ok=True)
    write_safetensors(os.path.join(folder, "weights.safetensors"), rival.weights)
    np.save(os.path.join(folder, "x.npy"), rival.x.contiguous().numpy())
    np.save(os.path.join(folder, "target.npy"), rival.target.contiguous().numpy())


def follow(rival, steps, rate, epsilon):
    """(loss, gradients, weights) at each of so many steps of Adam, the weights before it: arrays."""
    optimiser = adam(rival, rate, epsilon)
    for _ in range(steps):
        weights = {name: tensor.detach().numpy().copy() for name, tensor in rival.weights.items()}
        loss = float(step(rival, optimiser))
        yield loss, {name: tensor.grad.numpy().copy() for name, tensor in rival.weights.items()}, weights


def dump(rival, folder, rate, epsilon):
    """Weights and batch; the losses of 20 steps are printed."""
    write_inputs(rival, folder)
    print(f"rate: {rate!r}\nepsilon: {epsilon!r}")
    for k, (loss, _, _) in enumerate(follow(rival, 20, rate, epsilon)):
        print(f"loss {k}: {loss:.9g}")


def check(rival):
    """The gradients against those of the plain program in double (rival.plain), relative to their norms."""
    adam(rival, 0, 1)
    loss, gradients = rival.gradients(rival.x, rival.target)
    double = {name: tensor.detach().double().requires_grad_(True) for name, tensor in rival.weights.items()}
    want = ((rival.plain(rival.x.double(), double) - rival.target.double()) ** 2).mean()
    want.backward()
    print(f"loss: {float(loss):.9g}, in double {float(want):.9g}")
    worst = abs(float(loss) / float(want) - 1)
    with torch.no_grad():
        away = rival.infer(rival.x).double() - rival.plain(rival.x.double(), double)
    worst = max(worst, float(away.norm() / rival.target.double().norm()))
    for name, tensor in double.items(): # relative
        away = float((gradients[name].double() - tensor.grad).norm() / tensor.grad.norm())
        print(f"gradient of {name}: {away:.1e} away")
        worst = max(worst, away)
    return 0 if worst < 1e-4 else 1


def infer(rival, options):
    with torch.no_grad():
        rival.prepare()
        times = milliseconds(lambda: rival.infer(rival.x), max(20, options.steps), 5)
        np.save(options.inference, rival.infer(rival.x).contiguous().numpy())
    print(f"ms per inference: {np.median(times):.3f}")
    print(f"peak memory: {peak():.1f} MB")
    return 0


def main(make):
    parser = argparse.ArgumentParser(description=make.__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=30, help="training steps that are timed (after 5)")
    # Adam's first step is rate sign(g): with its usual epsilon, 1e-8, the rounding of what is nearly 0 decides, and two
    # programs that compute the same part ways
    parser.add_argument("--rate", type=float, default=make.rate, help="of Adam")
    parser.add_argument("--epsilon", type=float, default=make.epsilon, help="of Adam")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weights", help="safetensors to begin with")
    parser.add_argument("--dump", metavar="FOLDER", help="weights.safetensors, x.npy, target.npy there; losses of 20 steps")
    parser.add_argument("--inference", metavar="RESULT.npy", help="inference alone; its result goes there")
    parser.add_argument("--check", action="store_true", help="gradients against the plain program in double")
    parser.add_argument("--variant", default=make.best, choices=make.variants, help="default: the fastest")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rival = make(options.variant)
    if options.weights:
        rival.weights = read_safetensors(options.weights)
    with torch.no_grad():
        rival.project(rival.weights)
    if options.dump:
        dump(rival, options.dump, options.rate, options.epsilon)
        return 0
    if options.check:
        return check(rival)
    if options.inference:
        return infer(rival, options)
    before = peak()
    optimiser = adam(rival, options.rate, options.epsilon)
    times = milliseconds(lambda: step(rival, optimiser), max(20, options.steps), 5)
    training = peak()
    with torch.no_grad():
        rival.prepare()
        inference = milliseconds(lambda: rival.infer(rival.x), max(20, options.steps), 5)
    print(f"ms per training step: {np.median(times):.3f}")
    print(f"least ms per training step: {times.min():.3f}")
    print(f"ms per inference: {np.median(inference):.3f}")
    print(f"least ms per inference: {inference.min():.3f}")
    print(f"peak memory: {training:.1f} MB")
    print(f"peak memory before training: {before:.1f} MB")
    return 0

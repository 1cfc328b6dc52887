// Times a model of one input with onnxruntime-node: node onnx_run.js MODEL X.npy THREADS STEPS [RESULT.npy]
// NODE_PATH says where the package is (bench/README.md).
const fs = require("fs");
const ort = require("onnxruntime-node");

function readNpy(path) {
    const bytes = fs.readFileSync(path), length = bytes.readUInt16LE(8);
    const header = bytes.toString("latin1", 10, 10 + length);
    const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((n) => n.trim()).map(Number);
    return {shape, header: bytes.subarray(0, 10 + length), data: new Float32Array(bytes.buffer.slice(bytes.byteOffset + 10 + length, bytes.byteOffset + bytes.length))};
}

function median(numbers) {
    const sorted = [...numbers].sort((a, b) => a - b), n = sorted.length;
    return (sorted[Math.floor((n - 1) / 2)] + sorted[Math.floor(n / 2)]) / 2;
}

async function main([model, path, threads, steps, result]) {
    const x = readNpy(path);
    const session = await ort.InferenceSession.create(model, {
        intraOpNumThreads: Number(threads), interOpNumThreads: 1, executionMode: "sequential", graphOptimizationLevel: "all"});
    const feeds = {[session.inputNames[0]]: new ort.Tensor("float32", x.data, x.shape)};
    const times = [];
    let out;
    for (let i = 0; i < 5 + Number(steps); i++) {
        const start = process.hrtime.bigint();
        out = await session.run(feeds);
        if (i >= 5) times.push(Number(process.hrtime.bigint() - start) / 1e6);
    }
    console.log(`ms per inference: ${median(times).toFixed(3)}`);
    console.log(`peak memory: ${(process.resourceUsage().maxRSS * 1024 / 1e6).toFixed(1)} MB`);
    const data = out[session.outputNames[0]].data;
    if (result) fs.writeFileSync(result, Buffer.concat([x.header, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]));
}

main(process.argv.slice(2));

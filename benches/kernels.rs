//! A whole MobileFaceNet (112x112, 221 million multiplications, random weights, PReLU) through the
//! integer kernels alone.
//!
//! `cargo bench --bench kernels -- ISA [RUNS]`: prints the wall time of the fastest run and a
//! checksum that is the same for every instruction set. One thread and no allocation of note between
//! runs, so that runs can be counted in instructions as well.

use std::time::{Duration, Instant};

#[path = "../src/kernels/mod.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod kernels;
use kernels::{
    Dense, Depthwise, Epilogue, Isa, Kernels, Requant, Residual, Scratch, Shape, Window,
};

/// A layer, the shape that it gives, and which earlier activation it adds.
struct Step {
    layer: Layer,
    output: Shape,
    residual: Option<usize>,
}

enum Layer {
    Dense(Dense),
    Depthwise(Depthwise),
}

struct Net {
    kernels: Kernels,
    random: u64,
    steps: Vec<Step>,
    shape: Shape,
}

impl Net {
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 32
    }

    fn weights(&mut self, count: usize) -> Vec<i8> {
        (0..count)
            .map(|_| self.next().to_le_bytes()[0].cast_signed().max(-127))
            .collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousand values")]
    fn requant(&mut self, outputs: usize, fan: usize, slope: bool, added: bool) -> Requant {
        let scale = 1.2 / (74.0 * (fan as f64).sqrt());
        Requant::new(&Epilogue {
            bias: &vec![100; outputs],
            scale: &(0..outputs)
                .map(|c| scale * (0.6 + c as f64 / outputs as f64))
                .collect::<Vec<_>>(),
            slope: slope.then_some(&vec![0.25; outputs][..]),
            zero_point: -7,
            range: (-128, 127),
            residual: added.then_some(Residual {
                scale: 0.7,
                zero_point: -7,
            }),
        })
    }

    fn push(&mut self, layer: Layer, window: Window, channels: usize, residual: Option<usize>) {
        let [height, width] = window.output(self.shape);
        self.shape = Shape {
            height,
            width,
            channels,
        };
        self.steps.push(Step {
            layer,
            output: self.shape,
            residual,
        });
    }

    fn dense(&mut self, window: Window, outputs: usize, slope: bool, residual: Option<usize>) {
        let inputs = self.shape.channels;
        let fan = window.taps() * inputs;
        let weights = self.weights(outputs * fan);
        let requant = self.requant(outputs, fan, slope, residual.is_some());
        let layer = Dense::new(self.kernels.isa(), window, inputs, &weights, -7, requant);
        self.push(Layer::Dense(layer), window, outputs, residual);
    }

    fn depthwise(&mut self, kernel: usize, stride: usize, padding: usize, slope: bool) {
        let window = square(kernel, stride, padding);
        let channels = self.shape.channels;
        let weights = self.weights(window.taps() * channels);
        let requant = self.requant(channels, window.taps(), slope, false);
        let layer = Depthwise::new(self.kernels.isa(), window, &weights, -7, requant);
        self.push(Layer::Depthwise(layer), window, channels, None);
    }

    fn mobile_face_net(kernels: Kernels) -> Net {
        let shape = Shape {
            height: 112,
            width: 112,
            channels: 3,
        };
        let mut net = Net {
            kernels,
            random: 0x9E37_79B9_7F4A_7C15,
            steps: Vec::new(),
            shape,
        };
        net.dense(square(3, 2, 1), 64, true, None);
        net.depthwise(3, 1, 1, true);
        let stages = [
            (2, 64, 5, 2),
            (4, 128, 1, 2),
            (2, 128, 6, 1),
            (4, 128, 1, 2),
            (2, 128, 2, 1),
        ];
        for (expansion, outputs, blocks, first) in stages {
            for block in 0..blocks {
                let stride = if block == 0 { first } else { 1 };
                let (inputs, from) = (net.shape.channels, net.steps.len() - 1);
                net.dense(Window::POINT, inputs * expansion, true, None);
                net.depthwise(3, stride, 1, true);
                let same = stride == 1 && inputs == outputs;
                net.dense(Window::POINT, outputs, false, same.then_some(from));
            }
        }
        net.dense(Window::POINT, 512, true, None);
        net.depthwise(7, 1, 0, false);
        net.dense(Window::POINT, 128, false, None);
        net
    }

    fn run(&self, image: &[i8], activations: &mut [Vec<i8>], scratch: &mut Scratch) {
        let mut shape = Shape {
            height: 112,
            width: 112,
            channels: 3,
        };
        for (i, step) in self.steps.iter().enumerate() {
            let (before, here) = activations.split_at_mut(i);
            let input = before.last().map_or(image, |a| &a[..]);
            let residual = step.residual.map(|r| &before[r][..]);
            match &step.layer {
                Layer::Dense(layer) => {
                    self.kernels
                        .dense(layer, input, shape, residual, &mut here[0], scratch);
                }
                Layer::Depthwise(layer) => {
                    self.kernels
                        .depthwise(layer, input, shape, residual, &mut here[0], scratch);
                }
            }
            shape = step.output;
        }
    }
}

fn square(kernel: usize, stride: usize, padding: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        before: [padding; 2],
        after: [padding; 2],
    }
}

fn main() {
    let mut isas: Vec<Isa> = Isa::ALL.to_vec();
    let mut runs = 100u32;
    for argument in std::env::args().skip(1) {
        if let Some(isa) = Isa::from_name(&argument) {
            isas = vec![isa];
        } else if let Ok(count) = argument.parse() {
            runs = count;
        }
    }
    for isa in isas {
        let Some(kernels) = Kernels::new(isa) else {
            println!("{isa}: skipped, this machine lacks it");
            continue;
        };
        let mut net = Net::mobile_face_net(kernels);
        let image = net.weights(112 * 112 * 3);
        let mut activations: Vec<Vec<i8>> = net
            .steps
            .iter()
            .map(|s| vec![0; s.output.volume()])
            .collect();
        let mut scratch = Scratch::default();
        let mut fastest = Duration::MAX;
        for _ in 0..runs {
            let start = Instant::now();
            net.run(&image, &mut activations, &mut scratch);
            fastest = fastest.min(start.elapsed());
        }
        let sum: i64 = activations
            .iter()
            .flatten()
            .zip(1..)
            .map(|(&a, i)| i64::from(a) * i)
            .sum();
        println!("{isa}: {fastest:?}, the fastest of {runs} runs, checksum {sum}");
    }
}

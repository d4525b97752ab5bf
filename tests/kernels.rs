//! Every instruction set of this machine gives the bytes of the scalar kernels.
//!
//! One thread and no test harness, so that it also runs under a user-mode emulator; paths that the
//! machine lacks are named as skipped. `SEEDS` sets the number of random cases per kernel,
//! `EXPECT` names instruction sets that the machine must have.

#[path = "../src/kernels/mod.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod kernels;

use kernels::{
    Dense, Depthwise, Epilogue, Head, Isa, Kernels, Requant, Residual, Scratch, Shape, Window,
};

/// Xorshift generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn byte(&mut self) -> i8 {
        self.next().to_le_bytes()[0].cast_signed()
    }

    /// Bytes, at times all extreme.
    fn bytes(&mut self, count: usize, least: i8) -> Vec<i8> {
        let extreme = self.below(4) == 0;
        let ends = [least, 127];
        (0..count)
            .map(|_| {
                if extreme {
                    self.one_of(&ends)
                } else {
                    self.byte().max(least)
                }
            })
            .collect()
    }

    fn real(&mut self) -> f64 {
        let bits = u32::try_from(self.below(1 << 20)).expect("twenty bits");
        f64::from(bits) / f64::from(1 << 20)
    }
}

/// One random layer: what is common to both kinds.
struct Case {
    shape: Shape,
    window: Window,
    outputs: usize,
    bias: Vec<i32>,
    scale: Vec<f64>,
    slope: Option<Vec<f32>>,
    zero_point: i8,
    range: (i8, i8),
    residual: Option<Residual>,
}

impl Case {
    fn random(random: &mut Random) -> Case {
        let kernel = random.one_of(&[[1, 1], [1, 1], [3, 3], [3, 3], [5, 5], [2, 3], [7, 1]]);
        let pad = |random: &mut Random| if kernel == [1, 1] { 0 } else { random.below(3) };
        let stride = random.one_of(&[1, 1, 2, 3]);
        let window = Window {
            kernel,
            stride: [
                stride,
                if kernel == [1, 1] {
                    stride
                } else {
                    random.one_of(&[1, 2])
                },
            ],
            before: [pad(random), pad(random)],
            after: [pad(random), pad(random)],
        };
        let channels =
            |random: &mut Random| random.one_of(&[1, 3, 4, 10, 16, 16, 17, 31, 32, 48, 64, 80]);
        let shape = Shape {
            height: kernel[0] + random.below(9),
            width: kernel[1] + random.below(9),
            channels: channels(random),
        };
        let outputs = channels(random);
        // A large sum in units of whole steps is not an epilogue that fits.
        let most = if window.taps() * shape.channels > 400 {
            3e-3
        } else {
            1.999
        };
        let size = random.one_of(&[1e-9, 1e-5, 1e-3, 3e-2, 1.0, 2.0f64]);
        let zero_point = random.one_of(&[-128, -7, 0, 5, 127]);
        let pick = random.below(4);
        let slopes = |random: &mut Random| f32::from(random.byte()) / 64.0;
        Case {
            shape,
            window,
            outputs,
            bias: (0..outputs)
                .map(|_| i32::from(random.byte()) * 99)
                .collect(),
            scale: (0..outputs)
                .map(|_| (size * (0.1 + random.real())).min(most))
                .collect(),
            slope: (pick < 2).then(|| (0..outputs).map(|_| slopes(random)).collect()),
            zero_point,
            range: random.one_of(&[(-128, 127), (zero_point, 127), (-100, 99)]),
            residual: (pick.is_multiple_of(2)).then(|| Residual {
                scale: random.real() * 3.9,
                zero_point: random.byte(),
            }),
        }
    }

    /// Lets the biases, at times, reach as far as those do that fit sums of so many products.
    fn reach(&mut self, random: &mut Random, products: usize) {
        if random.below(3) > 0 {
            return;
        }
        let sums = 255 * 127 * i32::try_from(products).expect("a small layer");
        for (bias, &scale) in self.bias.iter_mut().zip(&self.scale) {
            let limit = if scale < 1.0 / 64.0 { 1 << 30 } else { 1 << 24 };
            let most = limit - sums - 1;
            *bias = random.one_of(&[-most, most]);
        }
    }

    /// For sums of so many products.
    fn requant(&self, products: usize) -> Requant {
        let epilogue = Epilogue {
            bias: &self.bias,
            scale: &self.scale,
            slope: self.slope.as_deref(),
            zero_point: self.zero_point,
            range: self.range,
            residual: self.residual,
        };
        // A residual may take a saturated sum back here: the instruction sets agree on that too.
        let sums = Epilogue {
            residual: None,
            ..epilogue
        };
        assert!(sums.fits(products), "a layer as networks have");
        Requant::new(&epilogue)
    }
}

fn check_dense(kernels: Kernels, seed: u64) -> Result<usize, String> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut case = Case::random(&mut random);
    let (shape, window) = (case.shape, case.window);
    let products = window.taps() * shape.channels;
    case.reach(&mut random, products);
    let weights = random.bytes(case.outputs * window.taps() * shape.channels, -127);
    let input = random.bytes(shape.volume(), -128);
    let zero = random.byte();
    let [height, width] = window.output(shape);
    let residual = case
        .residual
        .map(|_| random.bytes(height * width * case.outputs, -128));
    let run = |kernels: Kernels| {
        let isa = kernels.isa();
        let requant = case.requant(products);
        let layer = Dense::new(isa, window, shape.channels, &weights, zero, requant);
        let mut output = vec![99; height * width * case.outputs];
        let mut scratch = Scratch::default();
        kernels.dense(
            &layer,
            &input,
            shape,
            residual.as_deref(),
            &mut output,
            &mut scratch,
        );
        output
    };
    compare(
        &run(kernels),
        &run(scalar()),
        &format!("dense {shape:?} {window:?} seed {seed}"),
    )
}

fn check_head(kernels: Kernels, seed: u64) -> Result<usize, String> {
    let mut random = Random(seed.wrapping_mul(0x9FB2_1C65_1E98_DF25) | 1);
    let mut case = Case::random(&mut random);
    case.reach(&mut random, case.window.taps() * case.shape.channels);
    let Case {
        shape,
        window,
        outputs,
        bias,
        ..
    } = case;
    let weights = random.bytes(outputs * window.taps() * shape.channels, -127);
    let input = random.bytes(shape.volume(), -128);
    let zero = random.byte();
    let units: Vec<f32> = (0..outputs)
        .map(|_| f32::from(random.byte()) / 4096.0)
        .collect();
    let logistic = random.below(2) == 0;
    let [height, width] = window.output(shape);
    let run = |kernels: Kernels| {
        let sums = (&bias[..], units.clone());
        let head = Head::new(
            kernels.isa(),
            window,
            shape.channels,
            &weights,
            zero,
            sums,
            logistic,
        );
        let mut output = vec![9.0; height * width * outputs];
        kernels.head(&head, &input, shape, &mut output, &mut Scratch::default());
        output.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
    };
    compare(
        &run(kernels),
        &run(scalar()),
        &format!("head {shape:?} {window:?} seed {seed}"),
    )
}

fn check_depthwise(kernels: Kernels, seed: u64) -> Result<usize, String> {
    let mut random = Random(seed.wrapping_mul(0xD1B5_4A32_D192_ED03) | 1);
    let mut case = Case::random(&mut random);
    case.shape.channels = case.outputs;
    if random.below(2) == 0 {
        // What most layers of most networks are.
        case.window.kernel = [3, 3];
        case.window.stride = [1, 1];
        case.shape.height = 3 + random.below(9);
        case.shape.width = 3 + random.below(9);
    }
    let (shape, window) = (case.shape, case.window);
    case.reach(&mut random, window.taps());
    let weights = random.bytes(window.taps() * shape.channels, -127);
    let input = random.bytes(shape.volume(), -128);
    let zero = random.byte();
    let [height, width] = window.output(shape);
    let residual = case
        .residual
        .map(|_| random.bytes(height * width * case.outputs, -128));
    let run = |kernels: Kernels| {
        let requant = case.requant(window.taps());
        let layer = Depthwise::new(kernels.isa(), window, &weights, zero, requant);
        let mut output = vec![99; height * width * case.outputs];
        let mut scratch = Scratch::default();
        kernels.depthwise(
            &layer,
            &input,
            shape,
            residual.as_deref(),
            &mut output,
            &mut scratch,
        );
        output
    };
    compare(
        &run(kernels),
        &run(scalar()),
        &format!("depthwise {shape:?} {window:?} seed {seed}"),
    )
}

fn check_dot(kernels: Kernels, seed: u64) -> Result<usize, String> {
    let mut random = Random(seed.wrapping_mul(0xA076_1D64_78BD_642F) | 1);
    let lengths = [random.below(600), random.below(600)];
    let [a, b] = lengths.map(|length| random.bytes(length, -128));
    let [got, expected] = [kernels, scalar()].map(|kernels| kernels.dot(&a, &b));
    if got == expected {
        Ok(a.len().min(b.len()))
    } else {
        Err(format!("dot {lengths:?} seed {seed}: {got} for {expected}"))
    }
}

fn scalar() -> Kernels {
    Kernels::new(Isa::Scalar).expect("every machine runs plain code")
}

/// Number of values compared.
fn compare<T: PartialEq + std::fmt::Display>(
    got: &[T],
    expected: &[T],
    what: &str,
) -> Result<usize, String> {
    match got.iter().zip(expected).position(|(a, b)| a != b) {
        Some(at) => Err(format!("{what}: {} for {} at {at}", got[at], expected[at])),
        None => Ok(got.len()),
    }
}

/// Vectors may be read beyond rows that hold nothing, so that such a layer must not run.
fn refuses_empty_rows(kernels: Kernels) -> bool {
    let (isa, scratch) = (kernels.isa(), &mut Scratch::default());
    let shape = Shape {
        height: 1,
        width: 1,
        channels: 0,
    };
    let requant = Requant::new(&Epilogue {
        bias: &[1],
        scale: &[1.0],
        slope: None,
        zero_point: 0,
        range: (-128, 127),
        residual: None,
    });
    let dense = Dense::new(isa, Window::POINT, 0, &[], 0, requant);
    let head = Head::new(isa, Window::POINT, 0, &[], 0, (&[1], vec![1.0]), false);
    let mut refused = |run: &mut dyn FnMut(&mut Scratch)| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(scratch))).is_err()
    };
    refused(&mut |scratch| kernels.dense(&dense, &[], shape, None, &mut [0], scratch))
        && refused(&mut |scratch| kernels.head(&head, &[], shape, &mut [0.0], scratch))
}

fn main() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(400);
    let expected = std::env::var("EXPECT").unwrap_or_default();
    let mut failed = false;
    for isa in Isa::ALL.into_iter().filter(|&isa| isa != Isa::Scalar) {
        let Some(kernels) = Kernels::new(isa) else {
            println!("{isa}: skipped, this machine lacks it");
            failed |= expected.split(',').any(|name| name == isa.name());
            continue;
        };
        if !refuses_empty_rows(kernels) {
            println!("{isa}: runs a layer whose rows are empty");
            failed = true;
        }
        type Check = fn(Kernels, u64) -> Result<usize, String>;
        let checks: [(&str, Check); 4] = [
            ("dense", check_dense),
            ("head", check_head),
            ("depthwise", check_depthwise),
            ("dot", check_dot),
        ];
        for (name, check) in checks {
            match (1..=seeds)
                .map(|seed| check(kernels, seed))
                .sum::<Result<usize, String>>()
            {
                Ok(values) => println!("{isa}: {name}: {values} values agree in {seeds} cases"),
                Err(difference) => {
                    failed = true;
                    println!("{isa}: {name}: FAILED {difference}");
                }
            }
        }
    }
    if failed {
        std::process::exit(1);
    }
}

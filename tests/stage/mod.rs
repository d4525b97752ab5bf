//! A small stage before a pinhole camera: a photo that is held up, flat or bent, or put on a head.
#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "pixels of small pictures"
)]

use std::time::Duration;

use doorward::face::Landmarks;
use doorward::image::{Frame, PixelFormat, RgbImage};

/// The camera's image, and its focal length in pixels.
const SIZE: (usize, usize) = (640, 480);
const FOCAL: f32 = 600.0;
/// Distance between the eyes of the photo, millimetres: life size.
const EYES: f32 = 63.0;

/// What the photo is on. Lengths are millimetres.
#[derive(Clone, Copy, Debug)]
pub enum Surface {
    /// A sheet.
    Flat,
    /// A sheet that is bent around an upright cylinder of this radius, towards the camera.
    Bent(f32),
    /// The front of a head with a nose.
    Head,
}

/// How it is held, degrees and millimetres.
#[derive(Clone, Copy, Debug)]
pub struct Pose {
    /// Positive turns the face towards the image's right.
    pub yaw: f32,
    pub pitch: f32,
    pub roll: f32,
    pub shift: (f32, f32),
    pub distance: f32,
}

impl Default for Pose {
    fn default() -> Self {
        Self {
            yaw: 0.0,
            pitch: 0.0,
            roll: 0.0,
            shift: (0.0, 0.0),
            distance: 550.0,
        }
    }
}

/// A photo of a face, and where the face is in it.
pub struct Prop {
    pub photo: RgbImage,
    pub landmarks: Landmarks,
}

type Vector = [f32; 3];

/// Turns a point of the stage into the frame of the object.
fn into_object(pose: &Pose, [x, y, z]: Vector) -> Vector {
    let (sin, cos) = pose.yaw.to_radians().sin_cos();
    let [x, z] = [x * cos + z * sin, z * cos - x * sin];
    let (sin, cos) = pose.pitch.to_radians().sin_cos();
    let [y, z] = [y * cos - z * sin, y * sin + z * cos];
    let (sin, cos) = pose.roll.to_radians().sin_cos();
    [x * cos + y * sin, y * cos - x * sin, z]
}

impl Surface {
    /// How far behind the plane of the photo's middle the surface lies.
    fn depth(self, x: f32, y: f32) -> f32 {
        let round = |radius: f32| {
            let x = x.abs().min(0.98 * radius);
            radius - (radius * radius - x * x).sqrt()
        };
        match self {
            Self::Flat => 0.0,
            Self::Bent(radius) => round(radius),
            Self::Head => round(85.0) - 24.0 * (-(x / 10.0).powi(2) - (y / 14.0).powi(2)).exp(),
        }
    }

    /// The photo's point that is at this point of the surface; none beside it.
    fn texture(self, x: f32, y: f32) -> Option<(f32, f32)> {
        match self {
            Self::Flat => Some((x, y)),
            Self::Bent(radius) => {
                (x.abs() < 0.95 * radius).then(|| (radius * (x / radius).asin(), y))
            }
            Self::Head => (x.abs() < 78.0 && y.abs() < 130.0).then_some((x, y)),
        }
    }
}

/// What the camera sees at a time.
pub fn render(prop: &Prop, surface: Surface, pose: &Pose, at: Duration) -> Frame {
    let [right, left, nose, ..] = prop.landmarks;
    let scale = right.distance(left) / EYES;
    let camera = into_object(pose, [-pose.shift.0, -pose.shift.1, -pose.distance]);
    let (width, height) = SIZE;
    let mut bytes = Vec::with_capacity(width * height * 3);
    for v in 0..height {
        for u in 0..width {
            let ray = [(u as f32 - 320.0) / FOCAL, (v as f32 - 240.0) / FOCAL, 1.0];
            let hit = strike(surface, camera, into_object(pose, ray), pose.distance);
            let seen = hit.and_then(|(x, y)| surface.texture(x, y));
            let colour =
                seen.and_then(|(x, y)| sample(&prop.photo, nose.x + x * scale, nose.y + y * scale));
            bytes.extend(colour.unwrap_or([96, 100, 104]));
        }
    }
    Frame {
        bytes,
        format: PixelFormat::Rgb24,
        width: 640,
        height: 480,
        stride: 0,
        sequence: 0,
        captured_at: at,
    }
}

/// Where a ray first meets the surface.
fn strike(surface: Surface, from: Vector, ray: Vector, distance: f32) -> Option<(f32, f32)> {
    let at = |t: f32| {
        [
            from[0] + t * ray[0],
            from[1] + t * ray[1],
            from[2] + t * ray[2],
        ]
    };
    let behind = |t: f32| {
        let [x, y, z] = at(t);
        z - surface.depth(x, y)
    };
    let (mut near, mut far) = (distance - 150.0, distance - 150.0);
    if matches!(surface, Surface::Flat) {
        let t = -from[2] / ray[2];
        let [x, y, _] = at(t);
        return (t > 0.0).then_some((x, y));
    }
    while behind(far) < 0.0 {
        (near, far) = (far, far + 4.0);
        if far > distance + 150.0 {
            return None;
        }
    }
    for _ in 0..6 {
        let middle = (near + far) / 2.0;
        if behind(middle) < 0.0 {
            near = middle
        } else {
            far = middle
        }
    }
    let [x, y, _] = at(far);
    Some((x, y))
}

fn sample(photo: &RgbImage, x: f32, y: f32) -> Option<[u8; 3]> {
    let inside =
        x >= 0.0 && y >= 0.0 && x < (photo.width() - 1) as f32 && y < (photo.height() - 1) as f32;
    if !inside {
        return None;
    }
    let (left, top) = (x as usize, y as usize);
    let (fx, fy) = (x.fract(), y.fract());
    let corner = |dx, dy| photo.pixel(left + dx, top + dy).map(f32::from);
    let [a, b, c, d] = [corner(0, 0), corner(1, 0), corner(0, 1), corner(1, 1)];
    let mix = |i: usize| {
        let upper = a[i] * (1.0 - fx) + b[i] * fx;
        let lower = c[i] * (1.0 - fx) + d[i] * fx;
        (upper * (1.0 - fy) + lower * fy).round() as u8
    };
    Some([mix(0), mix(1), mix(2)])
}

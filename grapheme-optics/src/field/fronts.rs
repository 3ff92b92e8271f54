//! Isolines of a map, and how fast they move.

use super::gradient::gradient_field;
use ndarray::Array2;

/// A piece of an isoline within one square of four cells: two points as (row, column).
pub type Segment = [[f64; 2]; 2];

/// The isoline of a map at a level, by marching squares (Lorensen and Cline's method in two dimensions) with linear
/// interpolation along the sides. Where a square is crossed twice the mean of its corners says how.
///
/// A level that a cell has exactly counts as below it. Linear in the number of cells.
pub fn isoline(map: &Array2<f64>, level: f64) -> Vec<Segment> {
    let (h, w) = map.dim();
    let mut segments = Vec::new();
    for i in 0..h.saturating_sub(1) {
        for j in 0..w.saturating_sub(1) {
            // Corners and sides, clockwise from the top left.
            let corners = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)];
            let above = corners.map(|corner| map[corner] > level);
            let crossing = |side: usize| {
                let (a, b) = (corners[side], corners[(side + 1) % 4]);
                let part = (level - map[a]) / (map[b] - map[a]);
                [a.0 as f64 + part * (b.0 as f64 - a.0 as f64), a.1 as f64 + part * (b.1 as f64 - a.1 as f64)]
            };
            let sides: Vec<usize> = (0..4).filter(|&side| above[side] != above[(side + 1) % 4]).collect();
            match sides[..] {
                [a, b] => segments.push([crossing(a), crossing(b)]),
                [_, _, _, _] => {
                    let mean = corners.iter().map(|&corner| map[corner]).sum::<f64>() / 4.0;
                    // Corner 0 lies between sides 3 and 0. If the middle is on its side, the two others are cut off.
                    let pairs = if (mean > level) == above[0] { [(0, 1), (2, 3)] } else { [(3, 0), (1, 2)] };
                    segments.extend(pairs.map(|(a, b)| [crossing(a), crossing(b)]));
                }
                _ => {}
            }
        }
    }
    segments
}

/// The length of an isoline in cells.
pub fn length(segments: &[Segment]) -> f64 {
    segments.iter().map(|[a, b]| (a[0] - b[0]).hypot(a[1] - b[1])).sum()
}

/// The mean over the isoline of `|cos|` of the angle between it and the map's gradient, weighted by length; 0 at right angles.
pub fn obliqueness(map: &Array2<f64>, segments: &[Segment]) -> f64 {
    let [dx, dy] = gradient_field(map);
    let (mut sum, mut total) = (0.0, 0.0);
    for [a, b] in segments {
        let middle = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
        let (along, across) = (b[0] - a[0], b[1] - a[1]);
        let (gy, gx) = (bilinear(&dy, middle), bilinear(&dx, middle));
        let (long, steep) = (along.hypot(across), gy.hypot(gx));
        if long > 0.0 && steep > 0.0 {
            sum += ((along * gy + across * gx) / steep).abs();
            total += long;
        }
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

/// The mean speed, in cells a frame, at which an isoline of `before` moves towards smaller values on its way to `after`:
/// `(after - before) / |grad|`, the gradient of the mean of both, weighted by length.
pub fn speed(before: &Array2<f64>, after: &Array2<f64>, level: f64) -> f64 {
    let middle = (before + after) / 2.0;
    let [dx, dy] = gradient_field(&middle);
    let change = after - before;
    let (mut sum, mut total) = (0.0, 0.0);
    for [a, b] in isoline(&middle, level) {
        let at = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
        let steep = bilinear(&dx, at).hypot(bilinear(&dy, at));
        let long = (a[0] - b[0]).hypot(a[1] - b[1]);
        if steep > 0.0 {
            sum += long * bilinear(&change, at) / steep;
            total += long;
        }
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

fn bilinear(map: &Array2<f64>, [row, column]: [f64; 2]) -> f64 {
    let (h, w) = map.dim();
    let cell = |x: f64, n: usize| {
        let low = (x.floor().max(0.0) as usize).min(n.saturating_sub(2));
        (low, (low + 1).min(n - 1), x - low as f64)
    };
    let ((i, k, p), (j, l, q)) = (cell(row, h), cell(column, w));
    (1.0 - p) * ((1.0 - q) * map[(i, j)] + q * map[(i, l)]) + p * ((1.0 - q) * map[(k, j)] + q * map[(k, l)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn cone(radius_to: f64) -> Array2<f64> {
        Array2::from_shape_fn((65, 65), |(i, j)| radius_to - (i as f64 - 32.0).hypot(j as f64 - 32.0))
    }

    #[test]
    fn a_cone_has_circles_and_its_gradient_meets_them_at_right_angles() {
        for radius in [8.0, 15.5, 24.3] {
            let map = cone(radius);
            let line = isoline(&map, 0.0);
            assert!((length(&line) / (TAU * radius) - 1.0).abs() < 0.005, "{radius}: {}", length(&line));
            for point in line.iter().flatten() {
                assert!(((point[0] - 32.0).hypot(point[1] - 32.0) - radius).abs() < 0.02);
            }
            assert!(obliqueness(&map, &line) < 0.01, "{radius}: {}", obliqueness(&map, &line));
        }
        // Another map's gradient does not.
        let slope = Array2::from_shape_fn((65, 65), |(_, j)| j as f64);
        assert!(obliqueness(&slope, &isoline(&cone(15.5), 0.0)) > 0.5);
    }

    #[test]
    fn a_growing_circle_moves_at_its_speed() {
        for growth in [0.3, 1.0, -0.7] {
            let found = speed(&cone(15.0), &cone(15.0 + growth), 0.0);
            assert!((found / growth - 1.0).abs() < 0.01, "{found}");
        }
        assert_eq!(speed(&cone(15.0), &cone(15.0), 100.0), 0.0);
    }

    #[test]
    fn lines_are_closed_also_at_saddles() {
        let map = Array2::from_shape_fn((40, 40), |(i, j)| (0.7 * i as f64).sin() * (0.9 * j as f64).cos());
        let mut ends = std::collections::BTreeMap::new();
        for point in isoline(&map, 0.013).iter().flatten() {
            *ends.entry(point.map(|x| (x * 1e6).round() as i64)).or_insert(0) += 1;
        }
        // Every end is shared by two pieces, but for those at the border.
        for (end, count) in ends {
            let at_border = end.iter().any(|&x| x == 0 || x == 39_000_000);
            assert!(count == 2 || (count == 1 && at_border), "{end:?} {count}");
        }
    }
}

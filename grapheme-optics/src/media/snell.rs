//! Refraction at a plane boundary: Snell's law and Fresnel's equations.

use serde::{Deserialize, Serialize};

/// How a ray stands to the plane of incidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Polarisation {
    /// Perpendicular to it.
    S,
    /// In it.
    P,
    /// Half of each.
    Unpolarised,
}

/// The cosine of the refracted angle by `n_in sin(in) = n_out sin(out)`, for the cosine of the angle of incidence in
/// [0, 1]; `None` beyond the critical angle, `sin(in) > n_out / n_in`.
pub fn refracted_cosine(cos_in: f64, n_in: f64, n_out: f64) -> Option<f64> {
    let ratio = n_in / n_out;
    let sin2_out = ratio * ratio * (1.0 - cos_in * cos_in).max(0.0);
    (sin2_out <= 1.0).then(|| (1.0 - sin2_out).sqrt())
}

/// The share of the energy that is reflected, by the squared ratio of amplitudes (Hecht, Optics, 4.6).
pub fn reflectance(polarisation: Polarisation, cos_in: f64, cos_out: f64, n_in: f64, n_out: f64) -> f64 {
    let ratio = |a: f64, b: f64| if a + b > 0.0 { ((a - b) / (a + b)).powi(2) } else { 1.0 };
    let s = || ratio(n_in * cos_in, n_out * cos_out);
    let p = || ratio(n_out * cos_in, n_in * cos_out);
    match polarisation {
        Polarisation::S => s(),
        Polarisation::P => p(),
        Polarisation::Unpolarised => 0.5 * (s() + p()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of the energy that passes, from the transmitted amplitude: `n_out cos_out / (n_in cos_in) t^2`.
    fn transmittance(polarisation: Polarisation, cos_in: f64, cos_out: f64, n_in: f64, n_out: f64) -> f64 {
        let flux = |t: f64| if cos_in > 0.0 { n_out * cos_out / (n_in * cos_in) * t * t } else { 0.0 };
        let amplitude = |a: f64, b: f64| if a + b > 0.0 { 2.0 * n_in * cos_in / (a + b) } else { 0.0 };
        let s = || flux(amplitude(n_in * cos_in, n_out * cos_out));
        let p = || flux(amplitude(n_out * cos_in, n_in * cos_out));
        match polarisation {
            Polarisation::S => s(),
            Polarisation::P => p(),
            Polarisation::Unpolarised => 0.5 * (s() + p()),
        }
    }

    #[test]
    fn snells_law_and_the_critical_angle() {
        for (n_in, n_out) in [(1.0, 1.5), (1.5, 1.0), (1.33, 1.0), (1.0, 2.4)] {
            for i in 0..=900 {
                let angle = f64::from(i) * std::f64::consts::FRAC_PI_2 / 900.0;
                let sine = n_in / n_out * angle.sin();
                match refracted_cosine(angle.cos(), n_in, n_out) {
                    Some(cosine) => assert!((cosine - (1.0 - sine * sine).max(0.0).sqrt()).abs() < 1e-7, "{angle}"),
                    None => assert!(sine > 1.0 - 1e-12, "{angle} from {n_in} to {n_out}"),
                }
            }
        }
        // From glass to air the critical angle is asin(2/3).
        let critical = (1.0_f64 / 1.5).asin();
        assert!(refracted_cosine((critical - 1e-9).cos(), 1.5, 1.0).is_some());
        assert!(refracted_cosine((critical + 1e-9).cos(), 1.5, 1.0).is_none());
        // A textbook value: 30 degrees from air into glass become 19.4712 degrees.
        let out = refracted_cosine(30_f64.to_radians().cos(), 1.0, 1.5).unwrap().acos().to_degrees();
        assert!((out - 19.471_220_634).abs() < 1e-8, "{out}");
    }

    #[test]
    fn what_is_reflected_and_what_passes_make_the_whole() {
        for polarisation in [Polarisation::S, Polarisation::P, Polarisation::Unpolarised] {
            for (n_in, n_out) in [(1.0, 1.5), (1.5, 1.0), (1.2, 1.3)] {
                for i in 0..90 {
                    let cos_in = f64::from(i).to_radians().cos();
                    let Some(cos_out) = refracted_cosine(cos_in, n_in, n_out) else { continue };
                    let reflected = reflectance(polarisation, cos_in, cos_out, n_in, n_out);
                    let passed = transmittance(polarisation, cos_in, cos_out, n_in, n_out);
                    assert!((reflected + passed - 1.0).abs() < 1e-12, "{polarisation:?} {i} {reflected} {passed}");
                    assert!((0.0..=1.0).contains(&reflected));
                }
            }
        }
        // Straight from air into glass 4% are reflected.
        assert!((reflectance(Polarisation::Unpolarised, 1.0, 1.0, 1.0, 1.5) - 0.04).abs() < 1e-15);
    }

    #[test]
    fn at_brewsters_angle_nothing_polarised_in_the_plane_is_reflected() {
        let brewster = 1.5_f64.atan();
        let cos_out = refracted_cosine(brewster.cos(), 1.0, 1.5).unwrap();
        assert!(reflectance(Polarisation::P, brewster.cos(), cos_out, 1.0, 1.5) < 1e-30);
        let s = reflectance(Polarisation::S, brewster.cos(), cos_out, 1.0, 1.5);
        assert!((s - 0.147_928_994).abs() < 1e-8, "{s}");
    }
}

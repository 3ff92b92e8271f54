//! What a settings file may say, and what is said of one that means nothing.

use grapheme_core::NetworkConfig;
use grapheme_optics::settings::{Ramp, Value};
use grapheme_optics::{Layout, OpticsSettings};

fn read(json: &str) -> Result<OpticsSettings, String> {
    let settings: OpticsSettings = serde_json::from_str(json).map_err(|error| error.to_string())?;
    settings.check(&Layout::of(&NetworkConfig::tiny(4))).map_err(|error| error.to_string())?;
    Ok(settings)
}

#[test]
fn good_settings_are_read_and_written_again() {
    for json in [
        "{}",
        r#"{"layers": [{"transparency": 0.9, "boundaries": [0, 3], "steps": [1, 10]}]}"#,
        r#"{"layers": [{"absorption": {"from": 1, "to": 0, "steps": [10, 20]}, "fourier": [0.5, 1]}]}"#,
        r#"{"indices": [{"layers": [0, 1], "index": 1.5}], "refraction": {"fresnel": "p", "rank": 2, "normals": [{"boundary": 1, "direction": [1, 0, 0, 0, 0, 2]}]}}"#,
        r#"{"energy_band": {"low": 1e-4, "high": 1e-2}}"#,
        r#"{"gates": {"boundaries": [0, 2], "rate": 0.1, "penalty": {"weight": 1, "low": 0.1, "high": 1}}}"#,
        r#"{"guides": [{"from": 2, "to": 0, "share": 0.5, "phase": 3.14}]}"#,
        r#"{"guides": [{"from": 2, "to": 0, "share": 0.5, "learn": {"rate": 0.1, "every": 8}}]}"#,
    ] {
        let settings = read(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(read(&serde_json::to_string(&settings).unwrap()).unwrap(), settings);
    }
}

#[test]
fn what_means_nothing_is_named_with_its_cure() {
    for (json, words) in [
        (r#"{"layres": []}"#, "unknown field `layres`"),
        (r#"{"layers": [{"transparancy": 1}]}"#, "unknown field `transparancy`"),
        (
            r#"{"layers": [{"transparency": 1.2}]}"#,
            "layers[0].transparency`: found 1.2, it must be a number from 0 to 1",
        ),
        (r#"{"layers": [{"transparency": "clear"}]}"#, "a number, or {\"from\""),
        (r#"{"layers": [{"transparency": {"from": 0, "till": 1, "steps": [0, 9]}}]}"#, "unknown field `till`"),
        (r#"{"layers": [{"transparency": {"from": 0, "to": 2, "steps": [0, 9]}}]}"#, "found 2"),
        (r#"{"layers": [{"transparency": {"from": 0, "to": 1, "steps": [9, 9]}}]}"#, "the smaller first"),
        (r#"{"layers": [{"diffusion": 0.6}]}"#, "from 0 to 1/2"),
        (
            r#"{"layers": [{"boundaries": [2, 9]}]}"#,
            "layers[0].boundaries`: found [2, 9], it must be two boundaries from 0 to 3",
        ),
        (r#"{"layers": [{"fourier": [0.5, 0.5]}]}"#, "two shares"),
        (r#"{"layers": [{"fourier": [0, 0.5], "phase": 1}]}"#, "a layer of its own"),
        (
            r#"{"indices": [{"layers": [0, 1], "index": 0.9}]}"#,
            "indices[0].index`: found 0.9, it must be a number of at least 1",
        ),
        (r#"{"indices": [{"layers": [0, 5], "index": 1}]}"#, "two layers from 0 to 4"),
        (r#"{"refraction": {"rank": 0}}"#, "from 1 to 16"),
        (r#"{"refraction": {"normals": [{"boundary": 0, "direction": [1, 2]}]}}"#, "6, the width of the network"),
        (r#"{"refraction": {"normals": [{"boundary": 0, "direction": [0, 0, 0, 0, 0, 0]}]}}"#, "not all zero"),
        (r#"{"energy_band": {"low": 1, "high": 1}}"#, "low below high"),
        (r#"{"energy_band": {"low": 1, "high": 2}, "layers": [{"phase": 1}]}"#, "left out where there are phases"),
        (r#"{"gates": {"boundaries": [0, 3], "rate": 1}}"#, "the loss reads the merge gates beside the last"),
        (
            r#"{"gates": {"boundaries": [0, 1], "rate": 1}, "energy_band": {"low": 1, "high": 2}}"#,
            "use gates.penalty instead",
        ),
        (r#"{"guides": [{"from": 3, "to": 0, "share": 0.5}]}"#, "a morph lies between"),
        (r#"{"guides": [{"from": 0, "to": 2, "share": 0.5}]}"#, "an earlier one"),
        (
            r#"{"guides": [{"from": 2, "to": 0, "share": 1.5}]}"#,
            "guides[0].share`: found 1.5, it must be a number from 0",
        ),
        (r#"{"guides": [{"from": 2, "to": 0, "share": 1, "learn": {"rate": 1}}]}"#, "above 0 and below 1"),
        (r#"{"guides": [{"from": 2, "to": 0, "share": 0.5, "learn": {"rate": 1, "every": 0}}]}"#, "at least 1"),
        (r#"{"guides": [{"from": 2, "to": 0, "share": 0.5, "learn": {"rate": -1}}]}"#, "guides[0].learn.rate"),
        (
            r#"{"guides": [{"from": 2, "to": 0, "share": 0.5, "learn": {"rate": 1}}], "energy_band": {"low": 1, "high": 2}}"#,
            "through linear media",
        ),
    ] {
        let message = read(json).expect_err(json);
        assert!(message.contains(words), "{json}: {message}");
    }
}

#[test]
fn a_ramp_runs_evenly_and_stays_at_its_ends() {
    let ramp = Value::Ramp(Ramp { from: 1.0, to: 0.0, steps: [10, 20] });
    assert_eq!([0, 10, 15, 20, 99].map(|step| ramp.at(step)), [1.0, 1.0, 0.5, 0.0, 0.0]);
}

use std::path::PathBuf;
use kvass_config::*;
use kvass_model::PrometheusLine;
#[test]
fn dump() {
    let lines: serde_json::Value = serde_json::from_str(&std::fs::read_to_string("/tmp/cfgtest/bad.json").unwrap()).unwrap();
    for (name, line) in lines.as_object().unwrap() {
        let text = std::fs::read_to_string(format!("tests/data/bad/{name}.bad.yml")).unwrap();
        let line = if line == "2" { PrometheusLine::V2 } else { PrometheusLine::V3 };
        let c = LoadContext { path: PathBuf::from("p.yml"), line, env: &|_| None, read_glob: &|_| Ok(vec![]) };
        match Config::parse(&text, &c) {
            Ok(_) => println!("@@ {name}\t{line:?}\tLOADED"),
            Err(e) => println!("@@ {name}\t{line:?}\t{e}"),
        }
    }
}

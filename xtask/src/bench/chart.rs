//! The bar chart: each row's ratio to its peer, which is 1.0. A shorter bar is better.

use std::fmt::Write as _;

use super::outcome::Row;

const WIDTH: f64 = 960.0;
/// Where the bars start, and where the highest ratio of the axis is.
const LEFT: f64 = 430.0;
const RIGHT: f64 = 890.0;
const TOP: f64 = 92.0;
const ROW_HEIGHT: f64 = 42.0;
const BAR_HEIGHT: f64 = 18.0;
/// The axis ends here. A longer bar is cut; its number stands beside it.
const HIGHEST: f64 = 2.0;

const STYLE: &str = r#"  <style>
    text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
    .h { font-size: 20px; font-weight: 600; }
    .t { font-size: 13px; }
    .s { font-size: 12px; fill: #59636e; }
    .n { font-size: 13px; font-weight: 600; }
    .grid { stroke: #d1d9e0; stroke-width: 1; }
    .one { stroke: #1f2328; stroke-width: 1.6; }
    .less { fill: #54aeff; }
    .more { fill: #eac54f; }
    .range { stroke: #59636e; stroke-width: 1.4; }
    .target { fill: #cf222e; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .s { fill: #9198a1; }
      .grid { stroke: #3d444d; }
      .one { stroke: #f0f6fc; }
      .less { fill: #1f6feb; }
      .more { fill: #9e6a03; }
      .range { stroke: #b7bdc8; }
      .target { fill: #ff7b72; }
    }
  </style>
"#;

/// Draws `rows`, from the first down.
pub(crate) fn draw(rows: &[Row]) -> String {
    let mut out = String::new();
    let mut at = TOP;
    let mut bars = String::new();
    for row in rows {
        bars.push_str(&bar(row, at));
        at += ROW_HEIGHT;
    }
    put(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" \
             aria-labelledby=\"title desc\">\n  <title id=\"title\">ukexec beside its peers</title>\n  \
             <desc id=\"desc\">A bar for each row of the table: the ratio of ukexec to its peer.</desc>\n",
            at + 16.0
        ),
    );
    out.push_str(STYLE);
    put(
        &mut out,
        format_args!(
            "  <text class=\"h\" x=\"16\" y=\"32\">ukexec beside its peers</text>\n  \
             <text class=\"s\" x=\"16\" y=\"54\">time or memory, as a ratio to the peer: shorter is \
             better</text>\n"
        ),
    );
    legend(&mut out);
    axis(&mut out, at);
    out.push_str(&bars);
    // Above the bars, so that it is seen where they pass it.
    let one = x(1.0);
    put(
        &mut out,
        format_args!(
            "  <line class=\"one\" x1=\"{one:.1}\" y1=\"{:.1}\" x2=\"{one:.1}\" y2=\"{at:.1}\"/>\n",
            TOP - 6.0
        ),
    );
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String) {
    put(
        out,
        format_args!(
            "  <line class=\"range\" x1=\"560\" y1=\"28\" x2=\"590\" y2=\"28\"/>\n  \
             <text class=\"s\" x=\"596\" y=\"32\">lowest to highest pair</text>\n  \
             {}  <text class=\"s\" x=\"768\" y=\"32\">not to be passed</text>\n",
            mark(756.0, 36.0)
        ),
    );
}

fn axis(out: &mut String, bottom: f64) {
    for tick in [0.0, 0.5, 1.0, 1.5, HIGHEST] {
        let at = x(tick);
        let name = if tick == 1.0 {
            "1.0, the peer".to_owned()
        } else {
            format!("{tick:.1}")
        };
        put(
            out,
            format_args!(
                "  <line class=\"grid\" x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\n  \
                 <text class=\"s\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>\n",
                TOP - 6.0,
                TOP - 12.0
            ),
        );
    }
}

/// A row: two lines of text, the bar, its range, the target's mark, and the number.
fn bar(row: &Row, top: f64) -> String {
    let mut out = String::new();
    let class = if row.ratio <= 1.0 { "less" } else { "more" };
    let (bar_top, middle) = (top + 6.0, top + 6.0 + BAR_HEIGHT / 2.0);
    let (from, to) = (x(row.lowest), x(row.highest));
    put(
        &mut out,
        format_args!(
            "  <text class=\"t\" x=\"16\" y=\"{:.1}\">{}</text>\n  \
             <text class=\"s\" x=\"16\" y=\"{:.1}\">beside {}</text>\n  \
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{bar_top:.1}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\"/>\n  \
             <line class=\"range\" x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\"/>\n",
            top + 14.0,
            escaped(&row.title),
            top + 30.0,
            escaped(&row.peer),
            x(row.ratio) - LEFT,
        ),
    );
    if let Some(target) = row.target {
        out.push_str(&mark(x(target), bar_top + BAR_HEIGHT + 8.0));
    }
    put(
        &mut out,
        format_args!(
            "  <text class=\"n\" x=\"{:.1}\" y=\"{:.1}\">{:.2}</text>\n",
            RIGHT + 16.0,
            middle + 5.0,
            row.ratio
        ),
    );
    out
}

/// A triangle whose point is above `bottom`.
fn mark(at: f64, bottom: f64) -> String {
    let (left, right, top) = (at - 5.0, at + 5.0, bottom - 8.0);
    format!(
        "  <path class=\"target\" d=\"M{at:.1} {top:.1} L{right:.1} {bottom:.1} L{left:.1} {bottom:.1} z\"/>\n"
    )
}

/// Where a ratio is on the axis.
fn x(ratio: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * ratio.min(HIGHEST) / HIGHEST
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

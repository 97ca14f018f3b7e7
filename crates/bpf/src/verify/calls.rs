//! The static call graph: no recursion, and no chain of calls deeper than
//! there are frames.

use crate::BpfError;
use crate::guest::machine::FRAMES;

/// A call, or a function's address taken for a callback.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// The slot of the instruction.
    pub(super) slot: u32,
    /// The function that is called, by its place in the table.
    pub(super) callee: usize,
}

/// Checks the calls of all functions; `edges[i]` are those of function `i`.
/// Returns the slot to blame and why.
pub(super) fn check(
    functions: &[(u32, String)],
    edges: &[Vec<Edge>],
) -> Result<(), (u32, BpfError)> {
    let mut graph = Graph {
        functions,
        edges,
        heights: vec![None; edges.len()],
        path: Vec::new(),
    };
    for function in 0..edges.len() {
        graph.visit(function)?;
    }
    Ok(())
}

struct Graph<'a> {
    functions: &'a [(u32, String)],
    edges: &'a [Vec<Edge>],
    /// How many frames a call of each function may need, once known.
    heights: Vec<Option<usize>>,
    /// The functions between the first and the one that is looked at.
    path: Vec<usize>,
}

impl Graph<'_> {
    /// Returns how many frames a call of `function` may need. It calls itself,
    /// at most [`FRAMES`] deep.
    fn visit(&mut self, function: usize) -> Result<usize, (u32, BpfError)> {
        if let Some(Some(height)) = self.heights.get(function) {
            return Ok(*height);
        }
        self.path.push(function);
        let mut height = 1;
        for edge in self.edges.get(function).into_iter().flatten() {
            if let Some(start) = self.path.iter().position(|&caller| caller == edge.callee) {
                let chain = self.chain(start, edge.callee);
                return Err((edge.slot, BpfError::new(format!("recursion: {chain}"))));
            }
            let below = if self.path.len() < FRAMES {
                self.visit(edge.callee)?
            } else {
                1
            };
            let frames = self.path.len() + below;
            if frames > FRAMES {
                let chain = self.chain(0, edge.callee);
                let text = format!(
                    "calls nest {frames} frames deep, at most {FRAMES} are allowed: {chain}"
                );
                return Err((edge.slot, BpfError::new(text)));
            }
            height = height.max(1 + below);
        }
        self.path.pop();
        if let Some(known) = self.heights.get_mut(function) {
            *known = Some(height);
        }
        Ok(height)
    }

    fn chain(&self, start: usize, callee: usize) -> String {
        let on_path = self.path.iter().skip(start).chain(std::iter::once(&callee));
        let names = on_path.map(|&index| self.functions.get(index).map_or("?", |(_, name)| name));
        names.collect::<Vec<_>>().join(" -> ")
    }
}

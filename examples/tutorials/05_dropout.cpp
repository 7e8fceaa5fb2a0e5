//| # Dropout as masks
//|
//| Dropout multiplies each value by a random 0 or 1 and scales what is left: `y = m ⊙ x / (1 − p)`, where `p` is the probability of
//| **dropping**. In gradus a mask is a function of (seed, stream, index): it is never stored, the backward pass makes it again,
//| and it can be looked at.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <gradus.hpp>
#include <gradus/app/plot.hpp>
#include <gradus/io/file.hpp>
#include <gradus/io/png.hpp>

using namespace gradus;

//| Masks as pictures: white is kept, black is dropped; pictures beside each other with a grey gap.
void draw(const std::vector<Tensor<>>& masks, const std::string& path) {
  constexpr int scale = 5, gap = 10;
  const int side = static_cast<int>(masks[0].size(0)), n = static_cast<int>(masks.size());
  io::Image image(n * side * scale + (n - 1) * gap, side * scale, 1, 128);
  for (int k = 0; k < n; ++k) {
    const float* mask = masks[static_cast<std::size_t>(k)].data();
    for (int i = 0; i < side * scale; ++i)
      for (int j = 0; j < side * scale; ++j)
        image.at(i, k * (side * scale + gap) + j) = mask[(i / scale) * side + j / scale] != 0 ? 255 : 0;
  }
  io::write_png(path, image);
}

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  //| ## The mask is the result for ones
  //| What dropout does to a tensor of ones is its mask, scaled by `1 / (1 − p)`.
  manual_seed(3);
  const auto ones32 = ones<float>({32, 32});
  std::vector<Tensor<>> masks;
  for (const double p : {0.1, 0.5, 0.9}) {
    masks.push_back(dropout(ones32, p));
    const auto dropped = mean((masks.back() == 0.0f).to<double>()), kept = amax(masks.back()).to<double>();
    std::printf("p = %.1f: kept values are %.3f, %4.1f %% are dropped\n", p, kept.item(), 100 * dropped.item());
  }
  draw(masks, folder + "/05_masks.png");
  //> p = 0.1: kept values are 1.111, 11.4 % are dropped
  //> p = 0.5: kept values are 2.000, 49.9 % are dropped
  //> p = 0.9: kept values are 10.000, 90.5 % are dropped
  //| ![Masks for p = 0.1, 0.5 and 0.9.](05_masks.png)

  //| ## The expectation stays
  //| Because of the scaling, the mean over masks is `x`, and the spread grows with `p`: the variance of an element is `x² p / (1 − p)`.
  const Tensor<double> x = full<double>({10000}, 2.0);
  for (const double p : {0.1, 0.5, 0.9}) {
    const auto y = dropout(x, p);
    const double m = mean(y).item(), variance = mean(square(y - m)).item(), formula = 4 * p / (1 - p);
    const bool close = std::fabs(variance / formula - 1) < 0.05;
    std::printf("p = %.1f: mean %.1f, variance within 5 %% of %.3f: %s\n", p, m, formula, close ? "yes" : "no");
  }
  //> p = 0.1: mean 2.0, variance within 5 % of 0.444: yes
  //> p = 0.5: mean 2.0, variance within 5 % of 4.000: yes
  //> p = 0.9: mean 2.0, variance within 5 % of 36.000: yes

  //| ## Backward sees the same mask
  //| The gradient passes where the value passed, and nowhere else; the mask is made again from its number.
  auto w = ones<float>({32, 32}).requires_grad_();
  const auto y = dropout(w, 0.5);
  sum(y).backward();
  std::printf("gradient equals mask: %s\n", sum((w.grad() != y.detach()).to<float>()).item() == 0 ? "everywhere" : "no");
  //> gradient equals mask: everywhere

  //| ## Masks can be replayed
  //| The generator is a number that counts calls. Setting it back gives the same mask; that is how several networks can share one,
  //| and how a method that chooses among masks can be written.
  const auto before = generator();
  const auto first = dropout(ones32, 0.5);
  generator() = before;
  const auto again = dropout(ones32, 0.5), next = dropout(ones32, 0.5);
  const auto differences = [&](const Tensor<>& other) { return sum((first != other).to<double>()).item(); };
  std::printf("again: %.0f differences, next: %s\n", differences(again), differences(next) > 400 ? "another mask" : "no");
  draw({first, again, next}, folder + "/05_replay.png");
  //> again: 0 differences, next: another mask
  //| ![The first mask, the same one replayed, and the next one.](05_replay.png)

  //| [Next](06_attention.html): attention three ways.
}

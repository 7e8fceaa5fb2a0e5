// Pictures in rows with a caption each: mistakes with their labels, samples, reconstructions.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gradus/io/png.hpp>

namespace gradus::app {

struct ImageGrid {
  enum Mark { plain, good, bad };  ///< colour of a picture's frame
  struct Item {
    io::Image image;
    std::string caption;
    Mark mark = plain;
  };
  std::string title = {}, note = {};
  std::size_t columns = 10;
  int cell = 72;  ///< wanted height of a picture in pixels; small ones are enlarged
  std::vector<std::string> column_names = {}, row_names = {};
  std::vector<Item> items = {};

  ImageGrid& add(io::Image image, std::string caption = {}, Mark mark = plain) {
    items.push_back({std::move(image), std::move(caption), mark});
    return *this;
  }

  /// All pictures in one, enlarged by a whole factor, with coloured frames; captions are only in the page.
  io::Image composed() const {
    int w = 1, h = 1;
    for (const Item& i : items) w = std::max(w, i.image.width), h = std::max(h, i.image.height);
    const int scale = std::clamp(cell / h, 1, 16), frame = 2, gap = 4;
    const int per_row = static_cast<int>(std::max<std::size_t>(1, std::min(columns, items.size())));
    const int rows = std::max(1, (static_cast<int>(items.size()) + per_row - 1) / per_row);
    const int step_x = w * scale + 2 * frame + gap, step_y = h * scale + 2 * frame + gap;
    io::Image all(per_row * step_x + gap, rows * step_y + gap, 3, 255);
    for (std::size_t k = 0; k < items.size(); ++k) {
      const io::Image& image = items[k].image;
      const int left = gap + static_cast<int>(k) % per_row * step_x, top = gap + static_cast<int>(k) / per_row * step_y;
      constexpr uint8_t frames[3][3] = {{213, 219, 225}, {28, 127, 74}, {192, 48, 58}};
      for (int y = 0; y < image.height * scale + 2 * frame; ++y)
        for (int x = 0; x < image.width * scale + 2 * frame; ++x)
          for (int c = 0; c < 3; ++c) all.at(top + y, left + x, c) = frames[items[k].mark][c];
      for (int y = 0; y < image.height * scale; ++y)
        for (int x = 0; x < image.width * scale; ++x)
          for (int c = 0; c < 3; ++c) {
            // Transparency is laid over white; 1 and 2 channels are grey.
            const int colours = image.channels >= 3 ? 3 : 1, v = image.at(y / scale, x / scale, colours == 3 ? c : 0);
            const int alpha = image.channels % 2 == 0 ? image.at(y / scale, x / scale, image.channels - 1) : 255;
            all.at(top + frame + y, left + frame + x, c) = static_cast<uint8_t>((v * alpha + 255 * (255 - alpha)) / 255);
          }
    }
    return all;
  }
};

}  // namespace gradus::app

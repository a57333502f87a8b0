// Prints in how many of its nets a cycle of `top` differs from the one before it, on average.
#include <bitset>
#include <cstdio>
#include <cstring>
#include <vector>
#include "Vtop.h"

int main(int, char **) {
  const long cycles = 1 << 16;
  long toggles = 0;
  Vtop top;
  std::vector<char> before(sizeof top.nets), now(sizeof top.nets);
  for (long n = 0; n <= cycles; n++) {
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
    std::memcpy(now.data(), &top.nets, now.size());
    for (size_t k = 0; n && k < now.size(); k++)
      toggles += std::bitset<8>(static_cast<unsigned char>(now[k] ^ before[k])).count();
    before.swap(now);
  }
  std::printf("%.4f\n", double(toggles) / cycles);
}

import unittest

from shop.cart import Line, total


class TotalTest(unittest.TestCase):
    def test_nothing_costs_nothing(self):
        self.assertEqual(total([]), 0)

    def test_one_of_each_is_added_up(self):
        self.assertEqual(total([Line("Baguette", 1.90), Line("Rye roll", 0.95)]), 2.85)

    def test_two_of_a_thing_cost_twice_as_much(self):
        self.assertEqual(total([Line("Cinnamon bun", 2.60, count=2)]), 5.20)


if __name__ == "__main__":
    unittest.main()

"""The rules of activities: places, the waiting list, the register, ages and series. No I/O."""

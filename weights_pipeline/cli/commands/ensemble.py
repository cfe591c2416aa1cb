"""x"""
def add(commands): pass
